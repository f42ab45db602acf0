/**
 * Disables, enables and deletes organisations from the shell: `npm run admin -- organisation disable NAME`. It runs beside servers,
 * except on the embedded database, which one process uses.
 */

import { setTimeout } from 'node:timers/promises';
import type { EntityManager } from '@mikro-orm/postgresql';
import { deleteOrganisation } from '../administration/delete-organisations.ts';
import { findOrganisation } from '../administration/find-organisation.ts';
import { toOrganisationState } from '../administration/list-organisations.ts';
import {
  cancelDeletion,
  disableOrganisation,
  enableOrganisation,
  type StatusRequest,
  scheduleDeletion,
} from '../administration/organisation-status.ts';
import { findHead, type OrganisationStatus } from '../audit/trail-head.ts';
import type { Stores } from '../bootstrap/stores.ts';
import { currentTimeMs } from '../common/clock.ts';
import { commandLine } from '../common/command-name.ts';
import { StartupError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { boundedText } from '../common/text.ts';
import type { Organisation } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { findCommand, parseArguments, UsageError } from './arguments.ts';
import { describeUser } from './describe-user.ts';
import type { Invocation, Program } from './program.ts';
import { withStores } from './with-stores.ts';

const line = (args: string) => commandLine('admin', `organisation ${args}`);

/** The usage of the commands. NAME is the name or the id of an organisation. */
export const usage = `${line('disable NAME --reason TEXT')}
    Refuse every API key, token and setup link of an organisation, and stop all work for it. Nothing is lost.
    The reason is in its audit trail.
${line('enable NAME')}
    Let it work again. This cancels its deletion, if one is scheduled.
${line('delete NAME [--after 7d] [--reason TEXT]')}
    Disable it, and delete everything of it after some days (7d) or hours (12h), by default 7d.
${line('delete NAME --now --confirm NAME [--reason TEXT]')}
    Delete everything of it now. This cannot be undone. If the command is interrupted, the servers go on, or run
    it again.
${line('undelete NAME')}
    Cancel its deletion. It stays disabled.
NAME is the name or the id of an organisation; --confirm takes the name.`;

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const options = { reason: text, after: text, confirm: text, now: flag, json: flag };
type Given = ReturnType<typeof parseArguments<typeof options>>['options'];
type Target = Pick<Organisation, 'id' | 'name'>;
type OpenStores = Pick<Stores, 'database' | 'vault'>;
type Terminal = Pick<Invocation['terminal'], 'log'>;

/** Changes an organisation. It returns a sentence about what it has done. */
type Task = (stores: OpenStores, target: Target) => Promise<string>;

interface Command {
  options: readonly (keyof Given)[];
  /** Parses the options, so that invalid ones are reported before the database is opened. */
  prepare(given: Given, requestedBy: string): Task;
}

const transactional = (stores: OpenStores, change: (em: EntityManager) => Promise<OrganisationStatus>) =>
  stores.database.asSystem().transactional(change);

const commands: Readonly<Record<string, Command>> = {
  disable: {
    options: ['reason'],
    prepare(given, requestedBy) {
      const reason = parseReason(given.reason);
      if (reason === undefined) throw new UsageError('The option --reason is missing.');
      return async (stores, target) => {
        const request = { reason, requestedBy };
        const { disabledAt } = await transactional(stores, (em) =>
          disableOrganisation(em, stores, target, request),
        );
        return `is disabled since ${disabledAt?.toISOString()}. Servers refuse its credentials within two seconds.`;
      };
    },
  },
  enable: {
    options: [],
    prepare: (_, requestedBy) => async (stores, target) => {
      await transactional(stores, (em) => enableOrganisation(em, stores, target, { requestedBy }));
      return 'is enabled.';
    },
  },
  delete: {
    options: ['reason', 'after', 'now', 'confirm'],
    prepare(given, requestedBy) {
      const request = { reason: parseReason(given.reason), requestedBy };
      if (given.now) return prepareDeletionNow(given, request);
      if (given.confirm !== undefined) throw new UsageError('The option --confirm belongs to --now.');
      const afterMs = parseDuration(given.after ?? '7d');
      return async (stores, target) => {
        const deleteAt = new Date(currentTimeMs() + afterMs);
        await transactional(stores, (em) => scheduleDeletion(em, stores, target, { ...request, deleteAt }));
        return `is disabled, and will be deleted after ${deleteAt.toISOString()}. Cancel it with: ${line(`undelete ${target.id}`)}`;
      };
    },
  },
  undelete: {
    options: [],
    prepare: (_, requestedBy) => async (stores, target) => {
      const { disabledAt } = await transactional(stores, (em) =>
        cancelDeletion(em, stores, target, { requestedBy }),
      );
      if (!disabledAt) return 'is enabled, and its deletion is not scheduled.';
      return `is not deleted. It is still disabled. Enable it with: ${line(`enable ${target.id}`)}`;
    },
  },
};

/**
 * Parses the arguments of a command.
 *
 * @returns runs the command with unlocked stores
 * @throws UsageError
 */
export function parseCommand(args: string[]): (stores: OpenStores, terminal: Terminal) => Promise<void> {
  const { name, others, options: given } = parseArguments(args, options, 2);
  const command = findCommand(commands, name);
  const foreign = Object.keys(given).find(
    (option) => option !== 'json' && !command.options.some((each) => each === option),
  );
  if (foreign) throw new UsageError(`The command organisation ${name} has no option --${foreign}.`);
  const [nameOrId] = others;
  if (nameOrId === undefined) throw new UsageError('The name or the id of an organisation is missing.');
  const task = command.prepare(given, describeUser());
  return async (stores, terminal) => {
    const target = await findOrganisation(stores.database.asSystem(), nameOrId);
    const sentence = await task(stores, target);
    const { id } = target;
    const head = await findHead(stores.database.asSystem(), stores.vault, id);
    const { disabledAt = null, deleteAt = null } = head ?? {};
    const status = head ? toOrganisationState(head) : 'DELETED';
    if (given.json) terminal.log(JSON.stringify({ id, name: target.name, status, disabledAt, deleteAt }));
    else terminal.log(`Organisation ${id} "${target.name}" ${sentence}`);
  };
}

/** Runs `npm run admin -- organisation`. It throws its errors, which `npm run admin` reports. */
export const run: Program = async (invocation) => {
  const command = parseCommand(invocation.args);
  await withStores(invocation, async (stores) => {
    await stores.unlock();
    await command(stores, invocation.terminal);
  });
  return 0;
};

/** How long the command waits while a server has the turn to clean up, in milliseconds. */
const busyMs = 100;

function prepareDeletionNow({ confirm, after }: Given, request: StatusRequest): Task {
  if (after !== undefined) throw new UsageError('The options --after and --now exclude each other.');
  if (confirm === undefined)
    throw new UsageError('With --now, repeat the name of the organisation: --confirm NAME.');
  return async (stores, target) => {
    if (confirm !== target.name)
      throw new StartupError(
        `--confirm does not match the name of the organisation, "${target.name}"; nothing was changed`,
      );
    const { database } = stores;
    const { id } = target;
    const findDeletion = () => database.asSystem().findOne(OrganisationDeletion, { id });
    // A deletion that was interrupted goes on.
    if (!(await findDeletion())?.startedAt)
      await transactional(stores, (em) =>
        scheduleDeletion(em, stores, target, { ...request, deleteAt: new Date(currentTimeMs()) }),
      );
    while ((await deleteOrganisation(stores, id)) === 'busy') await setTimeout(busyMs);
    const { seq, hash, completedAt } = (await findDeletion()) ?? {};
    if (!completedAt) throw new StartupError('the deletion was cancelled by another command');
    return `was deleted at ${completedAt.toISOString()}. Its audit trail had ${formatCount(seq ?? 0, 'event')}; the last one has the hash ${hash}.`;
  };
}

const reasonSchema = boundedText(1_000, { tooLong: '' })
  .trim()
  .min(1)
  .max(500)
  .regex(/^[^\p{C}\p{Zl}\p{Zp}]*$/u);

function parseReason(reason: string | undefined): string | undefined {
  const { success, data } = reasonSchema.optional().safeParse(reason);
  if (success) return data;
  throw new UsageError(
    'The option --reason needs 1 to 500 characters, without line breaks or invisible characters.',
  );
}

const hourMs = 3_600_000;

/** Parses a number of days or hours, to milliseconds. */
function parseDuration(text: string): number {
  const [, number, unit] = /^(\d{1,4})([dh])$/.exec(text) ?? [];
  const hours = Number(number) * (unit === 'd' ? 24 : 1);
  if (hours >= 1 && hours <= 365 * 24) return hours * hourMs;
  throw new UsageError(
    'The option --after needs days or hours, such as 7d or 12h: at least 1h, at most 365d.',
  );
}
