import { StartupError } from '../../common/errors.ts';

/** A record of CSV. */
export interface CsvRecord {
  /** The line of the file on which it begins, from 1. */
  line: number;
  cells: string[];
}

const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|\n|\r|$)/y;

/**
 * Parses CSV as RFC 4180 describes it: cells may be quoted, and then contain commas, line breaks and doubled quotes. Empty lines do not
 * count, nor do lines of empty cells, which spreadsheets append.
 *
 * @throws StartupError that names the line of a wrong quote
 */
export function parseCsv(text: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let cells: string[] = [];
  let line = 1;
  let start = 1;
  field.lastIndex = 0;
  while (field.lastIndex < text.length || cells.length > 0) {
    const from = field.lastIndex;
    const found = field.exec(text);
    if (!found)
      throw new StartupError(
        `line ${line}: a quote is not closed, or text is beside a quoted cell; quote the whole cell, and double the quotes in it`,
      );
    const [all, quoted, plain = '', end] = found;
    cells.push(quoted?.replaceAll('""', '"') ?? plain.trim());
    line += countLines(all);
    if (end === ',') continue;
    if (cells.some((cell) => cell !== '')) records.push({ line: start, cells });
    cells = [];
    start = line;
    if (field.lastIndex === from) break;
  }
  return records;
}

function countLines(text: string): number {
  return text.match(/\r\n|\n|\r/g)?.length ?? 0;
}
