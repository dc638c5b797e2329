from celery import Celery
app=Celery("octolab",broker=__import__("os").environ.get("OCTOLAB_REDIS_URL"))
