"""What tests share: servers, projects, databases and how their tasks are run."""
