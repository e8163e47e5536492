"""The program that people write instead: Kafka to a static model to Kafka, with confluent-kafka and model2vec.

streams.sh runs it beside Sembla, where PEER_PYTHON names a Python that has both. It consumes batches, scores each
text against a fixed one, writes a line of JSON a record, and commits its offsets after each batch: at least once.
"""

import json
import sys

import numpy as np
from confluent_kafka import Consumer, Producer
from model2vec import StaticModel

servers, source, sink, folder, rows = *sys.argv[1:5], int(sys.argv[5])
model = StaticModel.from_pretrained(folder)
wanted = model.encode(["my card was stolen"])[0]
wanted = wanted / np.linalg.norm(wanted)
consumer = Consumer({
    "bootstrap.servers": servers, "group.id": "python", "auto.offset.reset": "earliest", "enable.auto.commit": False,
})
producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000})
consumer.subscribe([source])
done = 0
while done < rows:
    records = [record for record in consumer.consume(4096, timeout=1.0) if not record.error()]
    if not records:
        continue
    values = [json.loads(record.value()) for record in records]
    vectors = model.encode([value["text"] for value in values])
    norms = np.linalg.norm(vectors, axis=1)
    scores = (vectors @ wanted) / np.where(norms == 0, 1, norms)
    for value, score in zip(values, scores):
        producer.produce(sink, json.dumps({"id": value["id"], "score": float(score)}))
    producer.flush()
    consumer.commit(asynchronous=False)
    done += len(records)
consumer.close()
