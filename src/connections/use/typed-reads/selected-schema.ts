import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { ReadObject } from '../../../apps/typed-read.ts';

/** Clients select the same members of an object in few different ways. */
const maxSelections = 100;

/** The schemas by object, and by the members that are selected. To compile one takes as long as to check many objects. */
const schemas = new WeakMap<ReadObject, LRUCache<string, z.ZodType>>();

/**
 * Returns the schema of an object with only the selected members, because to check and copy the others takes time.
 *
 * @param paths the selected members: `profile.login`
 */
export function selectedSchema(object: ReadObject, paths: ReadonlySet<string>): z.ZodType {
  const known = schemas.get(object) ?? new LRUCache({ max: maxSelections });
  schemas.set(object, known);
  const key = [...paths].sort().join();
  const schema =
    known.get(key) ??
    select(
      object.schema,
      [...paths].map((path) => path.split('.')),
    );
  known.set(key, schema);
  return schema;
}

function select(schema: z.ZodType, paths: readonly string[][]): z.ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    return select(schema.unwrap() as z.ZodType, paths).nullish();
  }
  if (schema instanceof z.ZodArray) return z.array(select(schema.element as z.ZodType, paths));
  if (!(schema instanceof z.ZodObject)) return schema;
  const selected = Map.groupBy(paths, ([name]) => name);
  const members = Object.entries<z.ZodType>(schema.shape).flatMap(([name, member]) => {
    const below = selected.get(name)?.map(([, ...rest]) => rest);
    return below ? [[name, select(member, below)] as const] : [];
  });
  return z.object(Object.fromEntries(members));
}
