import { certified } from './cells.js';
import { matrix } from '../../src/network/matrix.js';
import { activation } from '../../src/network/activation.js';
import { box } from '../../src/stability/interval.js';
import { Random } from '../../test/support/random.js';
for (const n of [8, 16, 64, 128, 256]) for (const eps of [0, 1e-6, 1e-3]) {
  const r = new Random(n);
  const rec = matrix(n, n, Float64Array.from({length:n*n}, (_, p) => { const i = Math.floor(p/n), j = p%n; return i===j ? r.uniform(-.8,.8) : j<i ? r.uniform(-1,1) : eps*r.uniform(-1,1)/n; }));
  const cell = { kind:'rnn', inputSize:2, hiddenSize:n, clip:Infinity, gate:{ input: matrix(n,2,r.vector(2*n,-1,1)), recurrent: rec, bias: new Float64Array(n), activation: activation('Tanh') } } as any;
  const t = performance.now();
  const { certificates } = certified(cell, box(2,-1,1));
  console.log(n, eps, certificates.map(c=>c.report.name+' '+c.report.lambda?.toFixed(3)+(c.report.holds?'':' (no)')).join(', '), (performance.now()-t).toFixed(0)+'ms');
}
