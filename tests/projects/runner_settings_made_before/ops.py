import settings


def run(config, call):
    settings.load(database=config.get_main_option("sqlalchemy.url"), title_length=40)
    return call()
