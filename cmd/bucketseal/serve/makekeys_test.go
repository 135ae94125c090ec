package serve

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestKeysThatCannotBeMadeAreTriedAgain(t *testing.T) {
	t.Parallel()
	notYet, tries, asked := errors.New("not yet"), 0, 0
	var of [3]context.Context
	makeKeysLater(t.Context(), time.Millisecond, func(context.Context) error {
		if asked++; asked == 1 {
			return notYet
		}
		return nil
	}, func(ctx context.Context) error {
		of[tries] = ctx
		if tries++; tries < 3 {
			return notYet
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	if tries != 3 || asked != 4 {
		t.Errorf("%d tries, %d questions", tries, asked)
	}
	if of[0].Err() == nil || of[2].Err() != nil {
		t.Errorf("what a try left goes on: %v, %v", of[0].Err(), of[2].Err())
	}
}
