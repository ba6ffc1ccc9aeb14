import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { invalid } from '../image/check';
import { FaissVisionError } from '../error';

const NONCE = 12;
const TAG = 16;

/** How many bytes longer a sealed piece is than what it holds. */
export const SEAL_BYTES = NONCE + TAG;

export function checkKey(key: unknown): Uint8Array | undefined {
  if (key === undefined || (key instanceof Uint8Array && key.length === 32)) return key;
  throw invalid('encryptionKey', 'a Uint8Array of 32 bytes', key instanceof Uint8Array ? `${key.length} bytes` : typeof key);
}

/**
 * AES-256-GCM (NIST SP 800-38D) by Node's crypto: nonce, ciphertext, tag. What a piece belongs to is authenticated with it, so that
 * one face's features cannot be put in place of another's.
 */
export class Sealer {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal(plain: Uint8Array, owner: string): Buffer {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG });
    cipher.setAAD(Buffer.from(owner));
    const sealed = [cipher.update(plain), cipher.final()];
    return Buffer.concat([nonce, ...sealed, cipher.getAuthTag()]);
  }

  /** @throws ERR_GALLERY_CORRUPT where the key is another one, or something was changed */
  open(sealed: Uint8Array, owner: string): Buffer {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, NONCE), { authTagLength: TAG });
      decipher.setAAD(Buffer.from(owner));
      decipher.setAuthTag(sealed.subarray(sealed.length - TAG));
      return Buffer.concat([decipher.update(sealed.subarray(NONCE, sealed.length - TAG)), decipher.final()]);
    } catch (error) {
      throw new FaissVisionError('ERR_GALLERY_CORRUPT', `${owner}: cannot be decrypted: it was changed, or encrypted with another key`, {
        cause: error,
      });
    }
  }
}
