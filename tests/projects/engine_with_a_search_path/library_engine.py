from sqlalchemy import create_engine, event, pool


def make_engine(url):
    engine = create_engine(url, poolclass=pool.NullPool)

    @event.listens_for(engine, "connect")
    def set_schema(connection, record):
        with connection.cursor() as cursor:
            cursor.execute("SET search_path TO library")
        connection.commit()

    return engine
