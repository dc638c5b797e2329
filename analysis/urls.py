"""The routes of results and files, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from .views import Array, File, Files, Results, ResultTable

urlpatterns = [
    path("jobs/<uuid:job_id>/results", Results.as_view(), name="job-results"),
    path("jobs/<uuid:job_id>/results.csv", ResultTable.as_view(), name="job-results-csv"),
    path("jobs/<uuid:job_id>/files", Files.as_view(), name="job-files"),
    path("jobs/<uuid:job_id>/files/<str:name>", File.as_view(), name="job-file"),
    path("jobs/<uuid:job_id>/arrays/<str:reference>", Array.as_view(), name="job-array"),
]
