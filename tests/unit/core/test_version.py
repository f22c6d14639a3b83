from workflow_scripts.core.version import workflow_version


def test_the_version_is_that_of_the_project():
    assert workflow_version() == "0.1.0"
