import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';

const STAGE_BUCKETS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5];

type Reading<L extends string> = (tell: (labels: Record<L, string>, value: number) => void) => void;

/** What Prometheus reads. Cameras are told apart; people are not. */
export class Metrics {
  readonly registry = new Registry();
  readonly events = this.#counter('faiss_vision_events_total', 'Events written', ['camera', 'type']);
  readonly lost = this.#counter('faiss_vision_events_lost_total', 'Events that were given up unwritten', ['camera']);
  readonly deliveries = this.#counter('faiss_vision_deliveries_total', 'Attempts to deliver an event', ['sink', 'result']);
  readonly actions = this.#counter('faiss_vision_actions_total', 'Actions of rules, by how they ended', ['rule', 'kind', 'state']);
  readonly requests = this.#histogram('faiss_vision_http_seconds', 'Requests, by route and status', ['method', 'route', 'status']);
  readonly stages = this.#histogram('faiss_vision_stage_seconds', 'Frames through a stage; frame: from its arrival to its faces', [
    'camera',
    'stage',
  ]);
  readonly published = this.#histogram('faiss_vision_publish_seconds', 'From the arrival of the frame that decided to the sink that took the event', [
    'sink',
  ]);

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Values that are kept elsewhere, read when Prometheus asks. */
  asked<L extends string>(kind: 'counter' | 'gauge', name: string, help: string, labelNames: readonly L[], read: Reading<L>): void {
    const configuration = {
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect(this: Counter<L> | Gauge<L>) {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    };
    if (kind === 'counter') new Counter(configuration);
    else new Gauge(configuration);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #histogram<L extends string>(name: string, help: string, labelNames: readonly L[]): Histogram<L> {
    return new Histogram({ name, help, labelNames, buckets: STAGE_BUCKETS, registers: [this.registry] });
  }
}
