package lifecycle

import (
	"context"
	"net/http"
	"testing"
	"time"
)

func TestAQuestionThatNobodyWaitsForIsNoTrouble(t *testing.T) {
	t.Parallel()
	r := readinessBefore(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	r.everything(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probed || !r.state.none() {
		t.Errorf("it is noted that %v", r.state.error())
	}
}
