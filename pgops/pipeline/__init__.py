"""What a pipeline does around pgops: look without a token, comment without the project's code, migrate by a reviewed hash.

``python -m pgops.pipeline`` is what the GitHub actions and the GitLab template of this repository call. The code of a
pull request (revision files, env.py) runs in ``look`` only, which has no token; ``comment`` has one and runs nothing of it.
"""
