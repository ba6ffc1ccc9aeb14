import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DepthEstimator, FaceRecognizer, setThreads } from 'faiss-vision';
import type { Logger } from 'pino';
import { act } from './actions.js';
import type { CameraConfig, Config } from './config/schema.js';
import { Mqtt } from './delivery/mqtt.js';
import { Outbox } from './delivery/outbox.js';
import { Webhook } from './delivery/webhook.js';
import { messageOf } from './error.js';
import { buildApp, type App } from './http/app.js';
import { checkListening } from './http/auth.js';
import { Hub } from './hub.js';
import { Metrics } from './metrics.js';
import { People } from './people.js';
import { CameraPipeline } from './pipeline/pipeline.js';
import { Recorder } from './recorder.js';
import { Rules } from './rules/rules.js';
import { Camera } from './sources/camera.js';
import { Audit } from './store/audit.js';
import { databaseFile, openDatabase, type Db } from './store/database.js';
import { EventStore } from './store/events.js';
import { lockData, tellHolder } from './store/lock.js';
import { Tokens } from './store/tokens.js';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Milliseconds from one look at the event loop's delay to the next; Node counts them into it. */
const DELAY_RESOLUTION = 10;

/** Everything that runs: `start` resolves once it listens, `stop` once nothing is left under way. */
export class Service {
  readonly config: Config;
  readonly log: Logger;
  readonly #unlock: () => void;
  readonly #db: Db;
  readonly #events: EventStore;
  readonly #metrics = new Metrics();
  readonly #hub = new Hub();
  readonly #mqtt: Mqtt | undefined;
  readonly #outbox: Outbox;
  readonly #rules: Rules;
  readonly #recorder: Recorder;
  readonly #recognizer: FaceRecognizer;
  readonly #depth: DepthEstimator | undefined;
  readonly #people: People;
  readonly #cameras = new Map<string, CameraPipeline>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION });
  /** Of the last whole minute. */
  #delayThen: number | undefined;
  #app: App | undefined;
  #stopping = false;

  /**
   * Takes the data folder, opens the database and loads the models.
   * @throws what they throw, ERR_DATA_IN_USE and ERR_NO_TOKEN
   */
  static async open(config: Config, log: Logger): Promise<Service> {
    mkdirSync(config.data, { recursive: true, mode: 0o750 });
    const unlock = lockData(config.data);
    let db: Db | undefined;
    try {
      db = openDatabase(databaseFile(config.data));
      tellHolder(db);
      checkListening(config.http, { tokens: new Tokens(db) });
      const { recognizer, depth, threads } = config.models;
      if (threads !== undefined) setThreads(threads);
      const { maxPixels } = config.http;
      const faces = await FaceRecognizer.load({ ...recognizer, maxPixels } as Parameters<typeof FaceRecognizer.load>[0]);
      const estimator = depth && (await DepthEstimator.load({ weights: depth.weights, precision: depth.precision, maxPixels, ...(depth.near ? { near: depth.near } : {}) }));
      const people = await People.open(join(config.data, 'people.db'), faces, config.decision.threshold);
      return new Service(config, log, unlock, db, faces, estimator, people);
    } catch (error) {
      db?.close();
      unlock();
      throw error;
    }
  }

  private constructor(
    config: Config,
    log: Logger,
    unlock: () => void,
    db: Db,
    recognizer: FaceRecognizer,
    depth: DepthEstimator | undefined,
    people: People,
  ) {
    this.config = config;
    this.log = log;
    this.#unlock = unlock;
    this.#db = db;
    this.#recognizer = recognizer;
    this.#depth = depth;
    this.#people = people;
    this.#events = new EventStore(db);
    this.#mqtt = config.mqtt && new Mqtt(config.mqtt, clientId(db));
    const webhooks = config.webhooks.map((webhook) => new Webhook(webhook));
    this.#outbox = new Outbox({
      events: this.#events,
      sinks: [...(this.#mqtt ? [this.#mqtt] : []), ...webhooks],
      onDelivered: (sink, event) => {
        this.#metrics.deliveries.inc({ sink, result: 'delivered' });
        this.#metrics.published.observe({ sink }, (Date.now() - Date.parse(event.time)) / 1000);
      },
      onFailure: (sink, event, error) => {
        this.#metrics.deliveries.inc({ sink, result: 'failed' });
        log.warn({ sink, event: event?.id, reason: messageOf(error) }, 'not delivered yet');
      },
    });
    this.#rules = new Rules({
      db,
      rules: config.rules,
      audit: new Audit(db),
      find: (id) => this.#events.find(id),
      act: (action, event, rule) => act(action, event, rule, { mqtt: this.#mqtt, webhooks, keepPhoto: (which) => this.#recorder.keepPhoto(which) }),
      onEnd: ({ rule, action, kind, event, state, detail }) => {
        this.#metrics.actions.inc({ rule, kind, state });
        log[state === 'done' ? 'info' : 'warn']({ rule, action, kind, event, state, detail }, 'action');
      },
      onFailure: (rule, event, error) => log.error({ err: error, rule, event: event.id }, 'an action could not be written down'),
    });
    this.#recorder = new Recorder({
      db,
      events: this.#events,
      outbox: this.#outbox,
      rules: this.#rules,
      hub: this.#hub,
      metrics: this.#metrics,
      log,
      snapshots: config.events.snapshots,
    });
  }

  /** @returns the address that it listens at */
  async start(): Promise<string> {
    const { config, log } = this;
    this.#mqtt?.on('connected', () => log.info('the broker is connected'));
    this.#mqtt?.on('failed', (error) => log.warn({ reason: error.message }, 'the broker'));
    const lost = this.#events.lostCameras();
    for (const camera of config.cameras) this.#cameras.set(camera.id, this.#pipeline(camera, lost.includes(camera.id)));
    this.#every(3600_000, () => this.#events.prune(new Date(Date.now() - config.events.days * DAY)));
    this.#every(MINUTE, () => {
      this.#delayThen = this.#delayNow();
      this.#delay.reset();
    });
    this.#delay.enable();

    this.#app = await buildApp({
      config,
      version: version(),
      started: new Date(),
      log,
      db: this.#db,
      events: this.#events,
      audit: new Audit(this.#db),
      tokens: new Tokens(this.#db),
      recorder: this.#recorder,
      rules: this.#rules,
      recognizer: this.#recognizer,
      depth: this.#depth,
      people: this.#people,
      cameras: this.#cameras,
      mqtt: this.#mqtt,
      hub: this.#hub,
      metrics: this.#metrics,
      eventLoopDelay: () => this.#delayThen ?? this.#delayNow(),
      ready: () => !this.#stopping,
    });
    // A longer queue than Node's: a connection that does not fit into it is refused without a word.
    const address = await this.#app.listen({ host: config.http.host, port: config.http.port, backlog: 4096 });
    // Only now that it has its port: one that cannot run tells nobody anything.
    this.#mqtt?.connect();
    this.#events.forgetSinks(this.#outbox.sinks.map(({ name }) => name));
    for (const event of this.#events.unfinished()) this.#recorder.tell(event);
    this.#rules.recover();
    this.#outbox.start();
    for (const { camera } of this.#cameras.values()) camera.start();
    log.info({ address, cameras: config.cameras.length }, 'the service runs');
    return address;
  }

  /** Lets the sources go, decides what came before, ends what is under way; what is owed stays in the database. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all([...this.#cameras.values()].map((camera) => camera.close()));
    await this.#recorder.close();
    await this.#app?.close();
    await this.#rules.close();
    await this.#outbox.close();
    await this.#mqtt?.close();
    await this.#people.close();
    await this.#recognizer.close();
    await this.#depth?.close();
    this.#delay.disable();
    this.#db.close();
    this.#unlock();
    this.log.info('the service stopped');
  }

  #pipeline(config: CameraConfig, lost: boolean): CameraPipeline {
    const { decision, models } = this.config;
    const { id } = config;
    const camera = new Camera(config, { told: lost });
    const pipeline = new CameraPipeline({
      camera,
      tell: (event, face) => this.#recorder.tell(event, face),
      faces: config.faces
        ? {
            decision: { ...decision, frames: config.frames ?? decision.frames },
            recognizer: this.#recognizer,
            nearest: (features) => this.#people.nearest(features),
            pictures: this.#recorder.keepsPictures,
          }
        : undefined,
      depth: config.depth && this.#depth ? { estimator: this.#depth, every: models.depth!.every, clearAt: models.depth!.clearAt } : undefined,
    });
    camera.on('state', (status) => {
      const { state, reason } = status;
      this.log[state === 'live' || state === 'starting' ? 'info' : 'warn']({ camera: id, state, reason }, 'camera');
      this.#mqtt?.tellState(id, status);
      this.#hub.emit('camera', id, status);
    });
    let told: string | undefined;
    pipeline.on('live', (live) => {
      told = undefined;
      this.#hub.emit('live', live);
    });
    pipeline.on('took', (stage, ms) => this.#metrics.stages.observe({ camera: id, stage }, ms / 1000));
    pipeline.on('failed', (error) => {
      const reason = messageOf(error);
      // Once, where one frame after the other fails; they are counted.
      if (reason !== told) this.log.warn({ camera: id, reason }, 'a frame failed');
      told = reason;
    });
    this.#mqtt?.tellState(id, camera.status);
    return pipeline;
  }

  /** 99th percentile, milliseconds. */
  #delayNow(): number {
    return Math.max(0, this.#delay.percentile(99) / 1e6 - DELAY_RESOLUTION);
  }

  #every(ms: number, work: () => unknown): void {
    const attempt = () => {
      try {
        work();
      } catch (error) {
        this.log.error({ err: error }, 'housekeeping failed');
      }
    };
    this.#timers.push(setInterval(attempt, ms).unref());
  }
}

/** The same over restarts, and another one for each installation. */
function clientId(db: Db): string {
  db.prepare("INSERT OR IGNORE INTO settings (name, value) VALUES ('mqtt:client', ?)").run(`faiss-vision-${randomBytes(4).toString('hex')}`);
  return (db.prepare("SELECT value FROM settings WHERE name = 'mqtt:client'").get() as { value: string }).value;
}

function version(): string {
  return (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version;
}
