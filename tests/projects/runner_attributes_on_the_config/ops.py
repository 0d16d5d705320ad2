from sqlalchemy import create_engine, pool


def run(config, call):
    config.attributes["engine"] = create_engine(
        config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool
    )
    config.attributes["version_table"] = "library_version"
    return call()
