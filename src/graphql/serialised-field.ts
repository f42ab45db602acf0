/** The length of a part of a response that is serialised in one turn, in characters: about 0.2 ms. */
const partLength = 32_768;

/** The number of items of a list that are serialised at a time. */
const itemsPerPart = 20;

/**
 * A field of a response as JSON, in place of its value. The objects of a page of 100 connections take 99 kB of the heap, 3.7
 * times their JSON, and every garbage collection, which delays everybody, copies those that a request still needs. The JSON
 * is outside of the heap. `JSON.stringify` gives the same text as for the value.
 */
export class SerialisedField {
  readonly json: Buffer;

  private constructor(json: Buffer) {
    this.json = json;
  }

  /** Serialises the fields of an object, whose lists may be long, and waits for another turn after every part. */
  static async serialise(value: object, waitToContinue: () => Promise<void>): Promise<SerialisedField> {
    const parts: Buffer[] = [];
    let part = '{';
    const add = (text: string): Promise<void> | undefined => {
      part += text;
      if (part.length < partLength) return undefined;
      parts.push(Buffer.from(part));
      part = '';
      return waitToContinue();
    };
    let separator = '';
    for (const [name, member] of Object.entries(value)) {
      part += `${separator}${JSON.stringify(name)}:`;
      separator = ',';
      if (!Array.isArray(member)) await add(JSON.stringify(member));
      else {
        part += '[';
        for (let from = 0; from < member.length; from += itemsPerPart) {
          const items = JSON.stringify(member.slice(from, from + itemsPerPart)).slice(1, -1);
          await add(from === 0 ? items : `,${items}`);
        }
        part += ']';
      }
    }
    parts.push(Buffer.from(`${part}}`));
    return new SerialisedField(Buffer.concat(parts));
  }

  toJSON(): unknown {
    return JSON.parse(this.json.toString());
  }
}

/** Whether the data of a result has serialised fields. */
export function hasSerialisedFields(data: object): boolean {
  return Object.values(data).some((value) => value instanceof SerialisedField);
}

/** JSON in pieces, which are sent one after another. */
export type JsonPieces = (string | Buffer)[];

/**
 * Serialises the data of a result. A document may select 15 fields, so it waits for another turn after every field with which a
 * part is full.
 *
 * @param start the JSON before the data, from the brace on
 */
export async function serialiseData(
  start: string,
  data: Readonly<Record<string, unknown>>,
  waitToContinue: () => Promise<void>,
): Promise<JsonPieces> {
  const pieces: JsonPieces = [];
  let text = `${start}"data":{`;
  let length = 0;
  let separator = '';
  for (const [name, value] of Object.entries(data)) {
    if (length >= partLength) {
      await waitToContinue();
      length = 0;
    }
    text += `${separator}${JSON.stringify(name)}:`;
    separator = ',';
    if (value instanceof SerialisedField) {
      pieces.push(text, value.json);
      text = '';
    } else {
      const member = JSON.stringify(value);
      text += member;
      length += member.length;
    }
  }
  pieces.push(`${text}}}`);
  return pieces;
}
