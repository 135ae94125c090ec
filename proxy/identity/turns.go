package identity

import "time"

const (
	// maxLookups bounds how many access keys of one sort are asked for at once,
	// and lookupPatience how long a request waits for its turn.
	maxLookups     = 16
	lookupPatience = time.Second
	// maxWaiting bounds how many unknown access keys wait for a turn. Whoever
	// comes then is refused at once.
	maxWaiting = 64
)

// turns bound how many look-ups run at once, and how many wait.
type turns struct {
	running, waiting chan struct{}
}

func newTurns(atOnce, waiting int) *turns {
	return &turns{running: make(chan struct{}, atOnce), waiting: make(chan struct{}, waiting)}
}

// take waits for a turn, which give ends. ErrBusy.
func (t *turns) take() (give func(), err error) {
	give = func() { <-t.running }
	select {
	case t.running <- struct{}{}:
		return give, nil
	default:
	}
	select {
	case t.waiting <- struct{}{}:
		defer func() { <-t.waiting }()
	default:
		return nil, ErrBusy
	}
	patience := time.NewTimer(lookupPatience)
	defer patience.Stop()
	select {
	case t.running <- struct{}{}:
		return give, nil
	case <-patience.C:
		return nil, ErrBusy
	}
}
