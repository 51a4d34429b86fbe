import { formatNumber } from './format.js';
import type { StabilityReport, WitnessReport } from './report.js';

/** A witness of instability in words. */

/** What it amounts to: in the checkpoint itself where it was replayed there, else by the cell equations. */
export function witnessOutcome({ replay, common, distance }: WitnessReport): { steps: number; distance: number } {
  return replay?.staysApart ? replay : { steps: common.steps, distance };
}

/** Where the two histories end. */
export function motionInWords({ kind, persistent, orbits, separator }: WitnessReport): string {
  const multipliers = orbits.flatMap((o) => (o ? [formatNumber(o.multiplier)] : [])).join(' and ');
  const between = separator ? `; between them lies one that repels, multiplier ${formatNumber(separator.multiplier)}` : '';
  switch (kind) {
    case 'two-orbits':
      return persistent
        ? `they end on two attracting periodic orbits (multipliers ${multipliers}${between}), so the past matters for ever`
        : `they end on two periodic orbits (multipliers ${multipliers}${between})`;
    case 'two-phases':
      return `they end on one periodic orbit of period ${orbits[0]!.period} at different phases${persistent ? ', so the past matters for ever' : ''}`;
    case 'unsettled':
      return 'their motion has not settled, but the distance does not fall';
  }
}

export function witnessInWords(witness: WitnessReport): string {
  const { of, layers, reverse, common, distance, persistent, replay } = witness;
  const after = `the same ${common.steps} steps of input ${reverse ? 'in front of' : 'after'} two different ${reverse ? 'endings' : 'histories'}`;
  if (of === 'layer') {
    const consequence = persistent ? ' No certificate of that layer can hold over that range.' : '';
    return `By itself ${layers[0]} does not forget within the range of its input: ${after} leave its output ${formatNumber(distance)} apart; ${motionInWords(witness)}.${consequence} The model may never feed it so.`;
  }
  const again = !replay
    ? ' It could not be replayed in ONNX Runtime.'
    : replay.staysApart
      ? ` Replayed in ONNX Runtime, the checkpoint itself stays ${formatNumber(replay.distance)} apart for ${replay.steps} steps.`
      : ' Replayed in ONNX Runtime, the outputs come together: this is seen in float64 only.';
  const { steps, distance: least } = witnessOutcome(witness);
  return `The recurrence does not forget every input of the range: ${after} leave its output ${formatNumber(distance)} apart; ${motionInWords(witness)}.${again} A model truncated to any length up to ${steps} answers both alike, so it errs by at least ${formatNumber(least / 2)} on one of them.`;
}

/** A row of a name and a value for tables; none without a witness. */
export function witnessRows({ witness }: StabilityReport): string[][] {
  if (!witness) return [];
  const { steps, distance } = witnessOutcome(witness);
  const where = witness.of === 'layer' ? `${witness.layers[0]} by itself` : 'the recurrent output';
  const basis = witness.replay?.staysApart ? 'replayed in ONNX Runtime' : 'in float64';
  return [['not forgotten', `${where} is ${formatNumber(distance)} apart after ${steps} common steps (${basis})`]];
}
