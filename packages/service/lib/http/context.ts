import type { DepthEstimator, FaceRecognizer } from 'faiss-vision';
import type { Logger } from 'pino';
import type { Config } from '../config/schema.js';
import type { Mqtt } from '../delivery/mqtt.js';
import type { Hub } from '../hub.js';
import type { Metrics } from '../metrics.js';
import type { People } from '../people.js';
import type { CameraPipeline } from '../pipeline/pipeline.js';
import type { Recorder } from '../recorder.js';
import type { Rules } from '../rules/rules.js';
import type { Audit } from '../store/audit.js';
import type { Db } from '../store/database.js';
import type { EventStore } from '../store/events.js';
import type { Tokens } from '../store/tokens.js';

/** What the HTTP API shows and works with. */
export interface Context {
  config: Config;
  version: string;
  started: Date;
  log: Logger;
  db: Db;
  events: EventStore;
  audit: Audit;
  tokens: Tokens;
  recorder: Recorder;
  rules: Rules;
  recognizer: FaceRecognizer;
  depth: DepthEstimator | undefined;
  people: People;
  cameras: ReadonlyMap<string, CameraPipeline>;
  mqtt: Mqtt | undefined;
  hub: Hub;
  metrics: Metrics;
  /** 99th percentile of the event loop's delay, milliseconds, in the last whole minute. */
  eventLoopDelay(): number;
  /** Whether everything is loaded and nothing stops yet. */
  ready(): boolean;
}
