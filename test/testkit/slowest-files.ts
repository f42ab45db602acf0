import type { Reporter, TestModule } from 'vitest/node';

const count = 10;

/** Prints the files that took longest, so that what slows a run down is seen before it is too slow. */
export default class SlowestFiles implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const files = modules.map((module) => {
      const { collectDuration, duration } = module.diagnostic();
      return { name: module.relativeModuleId, milliseconds: collectDuration + duration };
    });
    if (files.length <= 1) return;
    files.sort((a, b) => b.milliseconds - a.milliseconds);
    console.log(`\nThe ${Math.min(count, files.length)} slowest test files, in seconds:`);
    for (const { name, milliseconds } of files.slice(0, count)) {
      console.log(`${(milliseconds / 1000).toFixed(1).padStart(8)}  ${name}`);
    }
  }
}
