"""`GET /v1/models`: what the server has."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from sordino.model import available_models, load_model

router = APIRouter(tags=["models"])


class ModelDescription(BaseModel):
    """One model."""

    name: str = Field(description="What requests call it")
    summary: str
    live: bool = Field(description="Whether live streams may use it")
    rates: list[int] = Field(description="Native sample rates in Hz")
    parameters: int
    macs_per_second: int = Field(description="Multiply-accumulates for one second of sound")
    licence: str
    sha256: str


class ModelList(BaseModel):
    """All models, the default one first."""

    models: list[ModelDescription]


@router.get("/v1/models", summary="List the models")
def models() -> ModelList:
    """List the models that the server has, the default one first."""
    described: list[ModelDescription] = []
    for entry in available_models().values():
        info = load_model(entry.name).info
        described.append(
            ModelDescription(
                name=entry.name,
                summary=entry.summary,
                live=entry.live,
                rates=list(info.native_rates),
                parameters=info.parameters,
                macs_per_second=info.macs_per_second,
                licence=info.licence,
                sha256=entry.sha256,
            )
        )
    return ModelList(models=described)
