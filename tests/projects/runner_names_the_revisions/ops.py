def run(config, call):
    config.set_main_option("version_locations", "%(here)s/migrations/versions %(here)s/library/steps")
    config.set_main_option("version_path_separator", "space")
    return call()
