package register_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

// motto is a document: a text with a generation.
type motto struct {
	generation uint64
	text       string
}

func Example() {
	ctx := context.Background()
	store := &registertest.Store{} // any store that swaps by ETag
	open := func() *register.Register[motto] {
		r, err := register.New(register.Options[motto]{
			Store: store, Name: "motto", Unavailable: errors.New("the motto is unavailable"),
			Encode: func(m motto) ([]byte, error) { return fmt.Appendf(nil, "%d %s", m.generation, m.text), nil },
			Decode: func(data []byte) (m motto, err error) {
				number, text, _ := strings.Cut(string(data), " ")
				m.text = text
				m.generation, err = strconv.ParseUint(number, 10, 64)
				return m, err
			},
			Generation: func(m motto) uint64 { return m.generation },
			Lease:      10 * time.Millisecond, Timeout: time.Second,
		})
		if err != nil {
			panic(err)
		}
		return r
	}
	one, two := open(), open() // two processes
	if err := one.Init(ctx, motto{1, "first"}); err != nil {
		panic(err)
	}
	was, _, err := two.Get(ctx)
	fmt.Println(was.text, err)

	known, err := one.Change(ctx, func(m motto) (next motto, changed bool, err error) {
		return motto{m.generation + 1, "second"}, m.text != "second", nil
	})
	if err != nil {
		panic(err)
	}
	if err := one.Obeyed(ctx, known); err != nil { // from here on nobody answers with the first
		panic(err)
	}
	is, _, err := two.Get(ctx)
	fmt.Println(is.text, err)
	// Output:
	// first <nil>
	// second <nil>
}
