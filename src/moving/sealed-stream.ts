import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { StartupError } from '../common/errors.ts';

const chunkBytes = 65_536;
const tagBytes = 16;

/** The error for a file that does not open with its key: one sentence, after the name of the file. */
export const damagedFile = () =>
  new StartupError('it was changed, or it is incomplete; nothing was imported from it; export it again');

/**
 * Encrypts a stream in chunks of 64 KiB (AES-256-GCM). The nonce is the number of the chunk and whether it is the last one, so that
 * chunks that are changed, moved or missing do not open. This is the STREAM construction (https://eprint.iacr.org/2015/189), as in
 * age.
 *
 * @param key encrypts nothing else
 */
export async function* sealStream(
  key: KeyObject,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let index = 0;
  for await (const { bytes, isLast } of splitIntoChunks(source, chunkBytes)) {
    const cipher = createCipheriv('aes-256-gcm', key, nonce(index, isLast));
    yield Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    index += 1;
  }
}

/**
 * Decrypts the output of `sealStream`. It yields only what is authentic.
 *
 * @throws StartupError if a chunk was changed, moved or removed
 */
export async function* openStream(
  key: KeyObject,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let index = 0;
  for await (const { bytes, isLast } of splitIntoChunks(source, chunkBytes + tagBytes)) {
    yield openChunk(key, nonce(index, isLast), bytes);
    index += 1;
  }
}

function openChunk(key: KeyObject, iv: Uint8Array, bytes: Buffer): Buffer {
  if (bytes.length < tagBytes) throw damagedFile();
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(0, -tagBytes)), decipher.final()]);
  } catch {
    throw damagedFile();
  }
}

/** Eleven bytes with the number of the chunk, and one that marks the last. */
function nonce(index: number, isLast: boolean): Uint8Array {
  const bytes = Buffer.alloc(12);
  bytes.writeUIntBE(index, 5, 6);
  bytes[11] = isLast ? 1 : 0;
  return bytes;
}

async function* splitIntoChunks(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of source) {
    pieces.push(piece);
    length += piece.length;
    // A full chunk waits for more: it may be the last one.
    if (length <= size) continue;
    let rest = Buffer.concat(pieces);
    while (rest.length > size) {
      yield { bytes: rest.subarray(0, size), isLast: false };
      rest = rest.subarray(size);
    }
    pieces = [rest];
    length = rest.length;
  }
  yield { bytes: Buffer.concat(pieces), isLast: true };
}
