import {
  type Constructor,
  type Dictionary,
  isRaw,
  JsonProperty,
  RawQueryFragment,
  raw,
  Utils,
} from '@mikro-orm/core';
import type { AbstractSqlConnection, AbstractSqlDriver, AbstractSqlPlatform } from '@mikro-orm/postgresql';

/**
 * The driver with a connection that binds values. MikroORM's own writes them into the text of each statement, which
 * PostgreSQL by default keeps in its log when the statement fails.
 */
export function withBoundParameters<Driver extends Constructor<AbstractSqlDriver>>(
  Driver: Driver,
  Connection: Constructor<AbstractSqlConnection>,
): Driver {
  class BindingConnection extends Connection {
    // Only the types do not know that `Connection` has it.
    declare createKyselyDialect: AbstractSqlConnection['createKyselyDialect'];

    override execute: AbstractSqlConnection['execute'] = async (
      query,
      params = [],
      method,
      ctx,
      loggerContext,
    ) => {
      const fragment = toFragment(query, params);
      const { text, values } = bindValues(this.platform, fragment.sql, fragment.params);
      // What runs the statement is given it without its values, and here they are put back.
      const withValues = {
        executeQuery: (statement: object, options: unknown) =>
          (ctx ?? this.getClient()).executeQuery({ ...statement, parameters: values }, options),
      };
      return super.execute(text, [], method, withValues, loggerContext);
    };
  }
  return class extends Driver {
    protected override readonly connection = new BindingConnection(this.config);
  };
}

/**
 * Makes of MikroORM's `?` and parameters what `formatQuery` makes of them, but for the values, which stay out of the
 * text: it has `$1` for the first. Nulls are keywords, and each item of an array is a value of its own, as in `in (?)`.
 */
function bindValues(
  platform: AbstractSqlPlatform,
  sql: string,
  params: readonly unknown[],
): { text: string; values: unknown[] } {
  const values: unknown[] = [];
  const textOf = (sql: string, params: readonly unknown[]): string => {
    if (params.length === 0) return sql;
    const left = params.values();
    return sql.replace(/\\\?|\?\??/g, (mark) => {
      if (mark === '\\?') return '?';
      const { value } = left.next();
      return mark === '??' ? identifier(value) : placeholder(value);
    });
  };
  const identifier = (id: unknown): string => {
    const fragment = RawQueryFragment.getKnownFragment(id);
    return fragment ? textOf(fragment.sql, fragment.params) : platform.quoteIdentifier(String(id));
  };
  const placeholder = (value: unknown): string => {
    if (value === null || value === undefined) return 'null';
    if (isRaw(value)) return textOf(value.sql, value.params);
    if (Array.isArray(value) && !(JsonProperty in value)) return value.map(placeholder).join(', ');
    const isJson = Utils.isPlainObject(value) || Object.hasOwn(value, JsonProperty);
    return `$${values.push(isJson ? JSON.stringify(value) : value)}`;
  };
  return { text: textOf(sql, params), values };
}

function toFragment(
  query: Parameters<AbstractSqlConnection['execute']>[0],
  params: readonly unknown[] | Dictionary,
): { sql: string; params: readonly unknown[] } {
  if (typeof query !== 'string') return 'toRaw' in query ? query.toRaw() : query;
  // Named parameters come as an object.
  return Array.isArray(params) ? { sql: query, params } : raw(query, params);
}
