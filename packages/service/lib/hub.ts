import { EventEmitter } from 'node:events';
import type { Live } from './pipeline/pipeline.js';
import type { CameraStatus } from './sources/camera.js';
import type { ServiceEvent } from './store/events.js';

interface HubEvents {
  event: [event: ServiceEvent];
  live: [live: Live];
  camera: [id: string, status: CameraStatus];
  close: [];
}

/** What goes on, for everybody who watches. */
export class Hub extends EventEmitter<HubEvents> {
  constructor() {
    super();
    this.setMaxListeners(0); // one for each stream; their number has its own limit
  }
}
