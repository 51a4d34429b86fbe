import { openCheckpoint } from '/work/wt-witness/src/checkpoint/open.js';
import { nodeFiles } from '/work/wt-witness/src/cli/nodeFiles.js';
import { runtime } from '/work/wt-witness/test/support/runtime.js';
import { streamedNetwork } from '/work/wt-witness/src/streaming/coverage.js';
import { causalSystem, DrivenSystem, outputDistance, distance } from '/work/wt-witness/src/network/causalSystem.js';
import { findCandidates } from '/work/wt-witness/src/stability/witness/candidates.js';
import { TriedInputs } from '/work/wt-witness/src/stability/witness/inputs.js';
import { Budget } from '/work/wt-witness/src/stability/witness/budget.js';
import { seededRandom } from '/work/wt-witness/src/samples/random.js';
import { finished } from '/work/wt-witness/bench/support/cells.js';
const cp = await openCheckpoint(nodeFiles('/work/shared/checkpoints/dtln/model_1.onnx'), { set: {}, states: {} }, runtime);
const network = streamedNetwork(cp.onnx);
const sys = causalSystem(network, false, () => true)!;
const range = { lower: new Float64Array(257).fill(-1), upper: new Float64Array(257).fill(1) };
let t0 = performance.now();
const b = new Budget(+process.argv[2]!);
const cands = finished(findCandidates(sys, new TriedInputs(sys, range, seededRandom(1)), 2e-3, b));
console.log('screened', performance.now() - t0, b.share, 'candidates', cands.length);
for (const c of cands) {
  const d = new DrivenSystem(sys, c.common); let a = c.starts[0].state, bb = c.starts[1].state; const out: number[] = []; let prev = a;
  t0 = performance.now();
  for (let t = 0; t < 1000; t++) { prev = a; a = d.step(t, a); bb = d.step(t, bb); if ((t+1) % 100 === 0) out.push(outputDistance(sys, a, bb)); }
  console.log('moved', c.moved.toFixed(4), 'common', c.common.length, [...c.common[0]!.slice(0, 3)], 'dist', out.map(v => v.toFixed(3)).join(' '), (performance.now() - t0).toFixed(0) + 'ms', d.cost);
}
