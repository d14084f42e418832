"""Projects as a resource: listed, created, changed, deleted."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from rest.http.fields import Description, Name, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from store.database import Database
from store.tenants.projects import Project, Projects

READ, WRITE = "projects:read", "projects:write"
NOUN = "project"


class ProjectCreate(Struct):
    """The contract's ProjectCreate."""

    name: Name
    description: Description = ""


class ProjectUpdate(Struct):
    """The contract's ProjectCreate, as a change: what it does not ask for may be left out, and
    stays."""

    name: Name
    description: Description | UnsetType = UNSET


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
                query=PageQuery,
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

    async def _list(self, request: Request[None, PageQuery]) -> Answer:
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
        project = await request.stored(
            NOUN,
            lambda workspace_id, project_id: self._projects.update(
                workspace_id, project_id, changes
            ),
        )
        return Answer(_view(project))

    async def _delete(self, request: Request[None, None]) -> Answer:
        await request.stored(NOUN, self._projects.delete)
        return Answer(Deleted(request.path()))


def _view(project: Project) -> ProjectView:
    return ProjectView(
        id=project.id,
        name=project.name,
        description=project.description,
        created_at=timestamp(project.created_at),
        updated_at=timestamp(project.updated_at),
    )
