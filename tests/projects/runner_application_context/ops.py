from shop import Application


def run(config, call):
    with Application(config.get_main_option("sqlalchemy.url")).context():
        return call()
