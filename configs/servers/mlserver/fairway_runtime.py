"""A version of Fairway's in MLServer: the questions of `fairway serve --behind`, answered from a bundle.

MLSERVER_MODEL_URI is the bundle's folder, MLSERVER_MODEL_NAME the model's name.
"""
from pathlib import Path

from mlserver import MLModel
from mlserver.types import Datatype, InferenceRequest, InferenceResponse, Parameters, ResponseOutput

from scoring import Model, best


class Recommender(MLModel):
    async def load(self) -> bool:
        folder = Path(self.settings.parameters.uri)
        if not (folder / "bundle.json").is_file():
            raise ValueError(f"{folder} is no bundle: set MLSERVER_MODEL_URI to the folder that has bundle.json")
        self.model = Model(folder)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        asked = {tensor.name: list(tensor.data) for tensor in payload.inputs}
        place = self.model.place
        # What this version does not know is left out, with its time.
        seen = [(place[name], time) for name, time in zip(asked["history"], asked["history_time_ms"]) if name in place]
        history, times = [item for item, _ in seen], [time for _, time in seen]
        scores = self.model.score(history, times, next(iter(asked["segment"]), None))
        if scores is None:
            return self.answer(payload, [], Parameters(cold_start=True))
        items = best(scores, {place[name] for name in asked["exclude"] if name in place}, asked["k"][0])
        return self.answer(payload, [
            ResponseOutput(name="items", datatype=Datatype.BYTES, shape=[len(items)], data=[self.model.items[i] for i in items]),
            ResponseOutput(name="scores", datatype=Datatype.FP32, shape=[len(items)], data=[float(scores[i]) for i in items]),
        ])

    def answer(self, payload: InferenceRequest, outputs: list[ResponseOutput], parameters: Parameters | None = None):
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs, parameters=parameters)
