"""Reports over HTTP, for feeds that do not speak Kafka: `POST /v1/reports` on a listener of its own."""
