/** What the reader chose on this page. It survives a hidden tab and a window reload; the report itself comes from the extension. */
export interface ViewState {
  /** Truncation length of the marker; null: the proposed one. */
  k: number | null;
  curveTableOpen: boolean;
  /** Names of the layers whose certificates are unfolded. */
  openLayers: string[];
}

export const initialState: ViewState = { k: null, curveTableOpen: false, openLayers: [] };

/** An older version of this page may have written the stored state. */
export function restoredState(stored: unknown): ViewState {
  if (typeof stored !== 'object' || stored === null) return { ...initialState };
  const { k, curveTableOpen, openLayers } = stored as Partial<Record<keyof ViewState, unknown>>;
  return {
    k: typeof k === 'number' && Number.isInteger(k) && k >= 0 ? k : null,
    curveTableOpen: curveTableOpen === true,
    openLayers: Array.isArray(openLayers) ? openLayers.filter((name): name is string => typeof name === 'string') : [],
  };
}
