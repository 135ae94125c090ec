package vault

// MinPartSize is the smallest size in bytes of every part but the last.
const MinPartSize = minPartSize

// Turns says how many uploads have a Complete that is under way or waits.
func (v *Vault) Turns() int {
	v.turns.mu.Lock()
	defer v.turns.mu.Unlock()
	return len(v.turns.byKey)
}
