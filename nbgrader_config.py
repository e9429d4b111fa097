"""nbgrader's settings for this course; read when nbgrader is started from this folder.

Marks come from verdicts of the autograder only: the student's notebook is rebuilt from its source,
judged in a sandbox, and never run by nbgrader itself.
"""

import warnings

from sqlalchemy.exc import SAWarning

from autograder.authoring.source import WRITTEN_STUB
from autograder.gradebook.folders import find_alembic
from autograder.gradebook.patience import wait_for_locks
from autograder.gradebook.release import RELEASE_PREPROCESSORS
from autograder.gradebook.whole_files import use_whole_files
from autograder.settings import COURSE, GRADEBOOK

find_alembic()
use_whole_files()
wait_for_locks()
# nbgrader's own way with its database; it works, and says so at length.
warnings.filterwarnings("ignore", category=SAWarning, message=".*not in session.*")

c = get_config()  # noqa: F821 (defined by traitlets, which runs this file)

c.CourseDirectory.root = str(COURSE)
# nbgrader's default is empty and has no row in its table of courses: PostgreSQL refuses that.
c.CourseDirectory.course_id = "default_course"
if GRADEBOOK:
    c.CourseDirectory.db_url = GRADEBOOK

# source -> release: nbgrader's own steps, with stubs that name their exercise.
c.GenerateAssignment.preprocessors = RELEASE_PREPROCESSORS
c.ClearSolutions.text_stub = WRITTEN_STUB

# submitted -> autograded: rebuilt from the source, then a verdict instead of running it.
c.Autograde.exporter_class = "autograder.gradebook.rebuild.SubmissionExporter"
c.Autograde.pre_convert_hook = "autograder.gradebook.folders.remove_links"
c.Autograde.sanitize_preprocessors = [
    "autograder.gradebook.rebuild.RebuildFromSource",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "autograder.gradebook.verdicts.AttachVerdict",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.gradebook.verdicts.SaveVerdict",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# autograded -> feedback: what each check says beside the answer that it is about.
c.GenerateFeedback.exporter_class = "autograder.gradebook.feedback.FeedbackExporter"

# The button Validate in JupyterLab: on a slow machine a cell that trains takes more than 30 s.
c.Execute.timeout = 600

# Pages of formgrader and feedback: markdown goes through an allow-list.
c.HTMLExporter.filters = {"markdown2html": "autograder.gradebook.sanitize.safe_markdown"}
