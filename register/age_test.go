package register_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

// one is a store with one document.
type one struct{}

// Load implements register.Store.
func (one) Load(context.Context, string) ([]byte, string, error) { return []byte{1}, "etag", nil }

// Save implements register.Store.
func (one) Save(context.Context, []byte, string) (string, error) { return "", register.ErrConflict }

func TestTheAgeOfACopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := register.New(register.Options[byte]{
			Store: one{}, Name: "one", Unavailable: register.ErrNotFound, Lease: time.Second, Timeout: time.Second, Clock: register.ClockOf(time.Now),
			Encode: func(b byte) ([]byte, error) { return []byte{b}, nil }, Decode: func(b []byte) (byte, error) { return b[0], nil }, Generation: func(b byte) uint64 { return uint64(b) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if age, ok := r.Age(); ok {
			t.Errorf("before the first read: %v", age)
		}
		if _, _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		if age, ok := r.Age(); !ok || age != 40*time.Second {
			t.Errorf("%v, %v", age, ok)
		}
	})
}
