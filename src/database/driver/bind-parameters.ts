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
import { timed } from '../../common/log.ts';

/**
 * Returns the driver with a connection that sends values as bound parameters.
 *
 * Works around https://github.com/mikro-orm/mikro-orm/issues/8001: MikroORM writes values into the text of each statement,
 * and PostgreSQL logs the text of statements that fail. Remove it when that issue is fixed.
 */
export function withBoundParameters<Driver extends Constructor<AbstractSqlDriver>>(
  Driver: Driver,
  Connection: Constructor<AbstractSqlConnection>,
): Driver {
  class BindingConnection extends Connection {
    // The type of `Connection` lacks this method.
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
      // `super.execute` formats values into the text, so it gets none, and this adapter adds them to the statement.
      const withValues = {
        executeQuery: (statement: object, options: unknown) =>
          (ctx ?? this.getClient()).executeQuery({ ...statement, parameters: values }, options),
      };
      // On the embedded database, statements wait here for transactions.
      return timed('database', () => super.execute(text, [], method, withValues, loggerContext));
    };
  }
  return class extends Driver {
    protected override readonly connection = new BindingConnection(this.config);
  };
}

/**
 * Replaces each `?` with `$1`, `$2` and so on, and otherwise does the same as MikroORM's `formatQuery`. Nulls become
 * keywords, and each item of an array becomes a value of its own, as in `in (?)`.
 */
function bindValues(
  platform: AbstractSqlPlatform,
  sql: string,
  params: readonly unknown[],
): { text: string; values: unknown[] } {
  const values: unknown[] = [];
  const renderText = (sql: string, params: readonly unknown[]): string => {
    if (params.length === 0) return sql;
    const remaining = params.values();
    return sql.replace(/\\\?|\?\??/g, (mark) => {
      if (mark === '\\?') return '?';
      const { value } = remaining.next();
      return mark === '??' ? identifier(value) : placeholder(value);
    });
  };
  const identifier = (id: unknown): string => {
    const fragment = RawQueryFragment.getKnownFragment(id);
    return fragment ? renderText(fragment.sql, fragment.params) : platform.quoteIdentifier(String(id));
  };
  const placeholder = (value: unknown): string => {
    if (value === null || value === undefined) return 'null';
    if (isRaw(value)) return renderText(value.sql, value.params);
    if (Array.isArray(value) && !(JsonProperty in value)) return value.map(placeholder).join(', ');
    const isJson = Utils.isPlainObject(value) || Object.hasOwn(value, JsonProperty);
    return `$${values.push(isJson ? JSON.stringify(value) : value)}`;
  };
  return { text: renderText(sql, params), values };
}

function toFragment(
  query: Parameters<AbstractSqlConnection['execute']>[0],
  params: readonly unknown[] | Dictionary,
): { sql: string; params: readonly unknown[] } {
  if (typeof query !== 'string') return 'toRaw' in query ? query.toRaw() : query;
  // An object has named parameters.
  return Array.isArray(params) ? { sql: query, params } : raw(query, params);
}
