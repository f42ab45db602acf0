import type { PGlite } from '@electric-sql/pglite';

// These are the parts of Emscripten's state that PostgreSQL in PGlite changes: files, open files, memory and the pointer of the stack.

interface Inode {
  parent: Inode;
  name: string;
  mode: number;
  /** The bytes of a file, of which `usedBytes` are used, or the entries of a folder. */
  contents?: Uint8Array | Record<string, Inode> | null;
  usedBytes: number;
  /** The next one in the same bucket of the table of names. */
  name_next?: Inode | undefined;
}

interface Stream {
  fd: number | null;
  node: Inode;
  position: number;
  flags: number;
}

interface FileSystem {
  root: Inode;
  nameTable: (Inode | undefined)[];
  streams: (Stream | null | undefined)[];
  isDir(mode: number): boolean;
  isFile(mode: number): boolean;
  getPath(inode: Inode): string;
}

interface Emscripten {
  FS: FileSystem;
  HEAPU8: Uint8Array;
  ___stack_pointer: WebAssembly.Global;
}

const getEmscripten = (database: PGlite) => (database as unknown as { mod: Emscripten }).mod;

const pageBytes = 65_536;
const zeros = Buffer.alloc(pageBytes);

/**
 * Copies the state of an idle embedded PostgreSQL in memory: the memory of its process, and its files. Libraries that it loads
 * later are not usable after the state is restored.
 *
 * @returns a function that restores the state; it returns false if the memory has grown, which cannot be undone
 */
export function takeSnapshot(database: PGlite): () => boolean {
  const { HEAPU8, ___stack_pointer } = getEmscripten(database);
  const size = HEAPU8.length;
  const stackPointer = ___stack_pointer.value;
  const pages = new Map<number, Buffer>();
  for (const [offset, page] of readPages(HEAPU8))
    if (!page.equals(zeros)) pages.set(offset, Buffer.from(page));
  const restoreFiles = copyFiles(getEmscripten(database).FS);
  return () => {
    const { HEAPU8 } = getEmscripten(database);
    if (HEAPU8.length !== size) return false;
    for (const [offset, page] of readPages(HEAPU8)) {
      const saved = pages.get(offset);
      if (saved) saved.copy(page);
      else if (!page.equals(zeros)) page.fill(0);
    }
    ___stack_pointer.value = stackPointer;
    restoreFiles();
    return true;
  };
}

function* readPages({ buffer }: Uint8Array): Generator<[number, Buffer]> {
  for (let offset = 0; offset < buffer.byteLength; offset += pageBytes)
    yield [offset, Buffer.from(buffer, offset, pageBytes)];
}

function copyFiles(fs: FileSystem): () => void {
  const buckets = Array.from(fs.nameTable, readBucket);
  const restoreInodes = [fs.root, ...buckets.flat()].map((inode) => copyInode(fs, inode));
  const streams = fs.streams.map((stream) => stream && { stream, ...readStream(stream) });
  return () => {
    for (const restore of restoreInodes) restore();
    for (const [index, bucket] of buckets.entries()) {
      fs.nameTable[index] = bucket[0];
      for (const [place, inode] of bucket.entries()) inode.name_next = bucket[place + 1];
    }
    fs.streams.length = 0;
    for (const saved of streams) {
      const { stream, ...state } = saved ?? {};
      fs.streams.push(stream && Object.assign(stream, state));
    }
  };
}

function readBucket(first: Inode | undefined): Inode[] {
  const inodes = [];
  for (let inode = first; inode; inode = inode.name_next) inodes.push(inode);
  return inodes;
}

const readStream = ({ fd, node, position, flags }: Stream) => ({ fd, node, position, flags });

/** Folder of PGlite with the data folder of PostgreSQL; others contain programs, which nothing writes. */
const dataFolder = '/pglite/data/';

function copyInode(fs: FileSystem, inode: Inode): () => void {
  const { parent, name, mode, usedBytes, contents } = inode;
  const state = { parent, name, mode, usedBytes };
  if (fs.isDir(mode)) return () => Object.assign(inode, state, { contents: { ...contents } });
  if (!fs.isFile(mode) || !(contents instanceof Uint8Array) || !fs.getPath(inode).startsWith(dataFolder))
    return () => Object.assign(inode, state, { contents });
  const saved = contents.slice(0, usedBytes);
  return () => Object.assign(inode, state, { contents: saved.slice() });
}
