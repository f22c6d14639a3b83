"""Pages to look and to judge with: a folder that opens from disk, for every pipeline."""

from workflow_scripts.core.pages.build import build_page
from workflow_scripts.core.pages.model import Choice, Export, Number, Page, Panel, Role, Threshold

__all__ = ["Choice", "Export", "Number", "Page", "Panel", "Role", "Threshold", "build_page"]
