package storage

// Need is what a request needs of the storage.
type Need int

// Needs.
const (
	// Reads needs what is there.
	Reads Need = iota
	// Frees needs no room: it deletes data, and nothing else.
	Frees
	// Writes needs a storage that keeps what it is given.
	Writes
)
