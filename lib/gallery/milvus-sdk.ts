import type { ClientConfig, MilvusClient } from '@zilliz/milvus2-sdk-node';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import type { MilvusConnectionOptions } from './milvus-options';
import type { MilvusPlace } from './milvus-url';

const PACKAGE = '@zilliz/milvus2-sdk-node';

/** A client of Milvus's own package, which is loaded at the first call. @throws ERR_MILVUS_UNAVAILABLE, ERR_INVALID_ARGUMENT */
export function makeClient(
  { address, database, token: inUrl }: MilvusPlace,
  { token = inUrl, tls }: MilvusConnectionOptions,
  timeout: number,
): MilvusClient {
  if (token !== undefined && (typeof token !== 'string' || token === '')) throw invalid('token', 'a string', typeof token);
  if (tls !== undefined && typeof tls !== 'boolean' && (typeof tls !== 'object' || tls === null)) throw invalid('tls', 'a boolean or an object', tls);
  const files = typeof tls === 'object' ? tls : {};
  if ((files.certFile === undefined) !== (files.keyFile === undefined)) throw invalid('tls', 'with both certFile and keyFile, or neither', files);
  const config: ClientConfig = {
    address,
    ssl: tls !== undefined && tls !== false,
    timeout,
    maxRetries: 0, // done here, where it is known what may be repeated
    logLevel: 'error',
    telemetry: { enabled: false },
    // Each call takes a client of its own; they share one connection.
    pool: { min: 0, max: 64 },
    channelOptions: {
      // gRPC waits up to two minutes before it looks again whether a server is back.
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // A dead connection is noticed within an attempt; between calls a server may take pings for an attack, and ends the connection.
      'grpc.keepalive_time_ms': Math.max(1_000, Math.round(timeout * 0.6)),
      'grpc.keepalive_timeout_ms': Math.max(1_000, Math.round(timeout * 0.2)),
      'grpc.keepalive_permit_without_calls': 0,
    },
    // The greeting fails where the server is away for a moment, and nothing here needs what it brings.
    __SKIP_CONNECT__: true,
    ...(token !== undefined && { token }),
    ...(database !== undefined && { database }),
    ...(typeof tls === 'object' && {
      tls: {
        ...(files.caFile !== undefined && { rootCertPath: files.caFile }),
        ...(files.certFile !== undefined && { certChainPath: files.certFile }),
        ...(files.keyFile !== undefined && { privateKeyPath: files.keyFile }),
        ...(files.serverName !== undefined && { serverName: files.serverName }),
      },
    }),
  };
  const { MilvusClient: Client } = loadSdk();
  try {
    return new Client(config);
  } catch (error) {
    throw new FaissVisionError('ERR_INVALID_ARGUMENT', `milvus://${address}: ${(error as Error).message}`, { cause: error });
  }
}

function loadSdk(): typeof import('@zilliz/milvus2-sdk-node') {
  try {
    return require(PACKAGE) as typeof import('@zilliz/milvus2-sdk-node');
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0];
    throw new FaissVisionError(
      'ERR_MILVUS_UNAVAILABLE',
      `a gallery on Milvus needs the package ${PACKAGE} (3 or newer), which could not be loaded (${reason}). Run: npm install ${PACKAGE}@3`,
      { cause: error },
    );
  }
}
