import { findCommand } from './arguments.ts';
import { run as exportTrails } from './export-audit.ts';
import type { Program } from './program.ts';
import { run as verify } from './verify-audit.ts';

const programs = { verify, export: exportTrails };

/** Runs `app-connections audit verify` and `app-connections audit export`. */
export const run: Program = async (invocation) => {
  const [name, ...args] = invocation.args;
  if (name !== 'help') return findCommand(programs, name)({ ...invocation, args });
  for (const program of Object.values(programs)) await program({ ...invocation, args: ['help'] });
  return 0;
};
