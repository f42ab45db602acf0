/** Why a file or a folder cannot be used, by the code of the system. Each is a predicate or a sentence of its own. */
const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user has no permission to read or write it',
  EPERM: 'this user has no permission to read or write it',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its file system has no free space or inodes',
  EDQUOT: 'its disk quota is exceeded',
  EFBIG: 'it is larger than its file system or a limit of this process allows',
  ENOTDIR: 'it is a file, or inside a file',
  EEXIST: 'it is a file, or inside a file',
  EISDIR: 'it is a folder and must be a file',
  ENAMETOOLONG: 'its name is too long',
  EMFILE: 'too many files are open',
};

/**
 * Describes an error of the file system in half a sentence, without the path.
 *
 * @param code such as `ENOSPC`
 * @param others reasons for codes that mean something else here
 */
export function describeFileError(code: string, others: Readonly<Record<string, string>> = {}): string {
  return `${others[code] ?? reasons[code] ?? 'cannot be read or written'} (${code})`;
}
