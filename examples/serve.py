"""A trained network behind HTTP: pip install fastapi uvicorn

python serve.py SNAPSHOT [PORT]
curl -d '{"samples": [[5.1, 3.5, 1.4, 0.2]]}' -H 'Content-Type: application/json' http://127.0.0.1:8000/predict
"""

import sys

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from runner import restore

model = restore(sys.argv[1]).model()
signature = model.signature
app = FastAPI(title=signature.workflow)


class Request(BaseModel):
    samples: list  # raw, each of signature.input_shape


@app.get("/")
def about() -> dict:
    return {"input_shape": signature.input_shape, "columns": signature.feature_names, "classes": signature.class_names}


@app.post("/predict")
def predict(request: Request) -> dict:
    try:
        samples = torch.from_numpy(np.array(request.samples, np.float64)).to(signature.input_dtype)
    except (TypeError, ValueError) as error:
        raise HTTPException(422, f"samples are not arrays of numbers of one shape: {error}") from error
    if tuple(samples.shape[1:]) != signature.input_shape or not len(samples):
        raise HTTPException(422, f"samples have the shape {tuple(samples.shape[1:])}, not {signature.input_shape}")
    with torch.inference_mode():
        outputs = model(samples)
    names = [signature.class_names[number] for number in outputs.argmax(1)] if signature.class_names else None
    return {"classes": names, "outputs": outputs.tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int((sys.argv[2:] or ["8000"])[0]))
