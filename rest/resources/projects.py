"""Projects as a resource: listed, created, changed, deleted."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from rest.http.errors import NotFound
from rest.http.fields import DEFAULT_LIMIT, Cursor, Description, Limit, Name, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.pagination import Cursors
from store.database import Database
from store.ids import is_id
from store.tenants.projects import Project, Projects

READ, WRITE = "projects:read", "projects:write"


class ProjectCreate(Struct):
    """The contract's ProjectCreate."""

    name: Name
    description: Description = ""


class ProjectUpdate(Struct):
    """The contract's ProjectCreate, as a change: what it does not ask for may be left out, and
    stays."""

    name: Name
    description: Description | UnsetType = UNSET


class ProjectsQuery(Struct):
    """Which page of the list."""

    cursor: Cursor | None = None
    limit: Limit = DEFAULT_LIMIT


class ProjectView(Struct, rename="camel"):
    """A project as it is shown."""

    id: str
    name: str
    description: str
    created_at: str
    updated_at: str


class Deleted(Struct):
    """A project that is gone."""

    id: str
    deleted: bool = True


class ProjectResource:
    """The contract's tag Projects."""

    def __init__(self, database: Database, cursors: Cursors) -> None:
        self._projects = Projects(database)
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        path, one, tag = "/api/projects", "/api/projects/{id}", "Projects"
        return [
            Operation(
                method="GET",
                path=path,
                tag=tag,
                summary="List projects",
                handler=self._list,
                data=list[ProjectView],
                scope=READ,
                query=ProjectsQuery,
            ),
            Operation(
                method="POST",
                path=path,
                tag=tag,
                summary="Create a project",
                handler=self._create,
                outcome="Created",
                data=ProjectView,
                scope=WRITE,
                body=ProjectCreate,
                idempotent=True,
            ),
            Operation(
                method="PATCH",
                path=one,
                tag=tag,
                summary="Update a project",
                handler=self._update,
                data=ProjectView,
                scope=WRITE,
                body=ProjectUpdate,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag=tag,
                summary="Delete a project",
                handler=self._delete,
                data=Deleted,
                scope=WRITE,
                outcome="Deleted",
            ),
        ]

    async def _list(self, request: Request[None, ProjectsQuery]) -> Answer:
        return await self._cursors.page(
            request.query,
            lambda after, limit: self._projects.list(
                request.workspace_id, limit=limit, after=after
            ),
            _view,
        )

    async def _create(self, request: Request[ProjectCreate, None]) -> Answer:
        asked = request.body
        made = await self._projects.create(request.workspace_id, asked.name, asked.description)
        return Answer(_view(made))

    async def _update(self, request: Request[ProjectUpdate, None]) -> Answer:
        asked = request.body
        changes = {"name": asked.name}
        if asked.description is not UNSET:
            changes["description"] = asked.description
        project = None
        if is_id(request.path()):
            project = await self._projects.update(request.workspace_id, request.path(), changes)
        if project is None:
            raise _absent()
        return Answer(_view(project))

    async def _delete(self, request: Request[None, None]) -> Answer:
        project_id = request.path()
        if not is_id(project_id) or not await self._projects.delete(
            request.workspace_id, project_id
        ):
            raise _absent()
        return Answer(Deleted(project_id))


def _view(project: Project) -> ProjectView:
    return ProjectView(
        id=project.id,
        name=project.name,
        description=project.description,
        created_at=timestamp(project.created_at),
        updated_at=timestamp(project.updated_at),
    )


def _absent() -> NotFound:
    return NotFound("There is no such project.")
