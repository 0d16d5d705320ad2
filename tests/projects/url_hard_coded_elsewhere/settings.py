import os

DATABASE_URL = os.environ["THE_OTHER_DATABASE"]
