// The start, when the document and its data are there.

function start() {
  startThemeSwitch();
  if (!window.darkroomData) {
    notice("data", "The file data.js is missing or damaged. Keep the page's folder together as it was made.");
    return;
  }
  readData(window.darkroomData);
  startDecisions();
  startOutcomes();
  startFilters();
  startSummary();
  startHistograms();
  startConfig();
  startToolbar();
  startLightbox();
  startBar();
  startView();
  startGrid();
  startKeys();
  document.documentElement.dataset.ready = "true";
}

document.addEventListener("DOMContentLoaded", start);
