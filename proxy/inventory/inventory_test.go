package inventory_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/sse"
)

func fill(t *testing.T, o memory.Options) (*memory.Storage, []string) {
	t.Helper()
	s := memory.New(o)
	if err := s.CreateBucket("b", memory.Versioned); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 700 { // two versions each: two pages
		for n := range 2 {
			name := sse.Name{Bucket: "b", Key: fmt.Sprintf("k/ä+%03d", i)}
			data := []byte(fmt.Sprint(n))
			_, err := s.Own(storage.Actor{}).Put(t.Context(), &storage.Put{Name: name, Record: "record", Body: storage.Body{Reader: bytes.NewReader(data), Length: 1}})
			if err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, fmt.Sprintf("k/ä+%03d true", i), fmt.Sprintf("k/ä+%03d false", i))
	}
	return s, want
}

func TestEveryVersionIsFoundOnceWithItsRecord(t *testing.T) {
	t.Parallel()
	for _, o := range []memory.Options{{}, {Plain: true}} { // which lists no metadata
		s, want := fill(t, o)
		var got []string
		pages := 0
		err := inventory.Walk(t.Context(), s.Own(storage.Actor{}), "b", inventory.Place{}, func(all []inventory.Version, _ inventory.Place) error {
			pages++
			for _, v := range all {
				got = append(got, fmt.Sprint(v.Name.Key, " ", v.Latest))
				if len(v.Reserved) != 1 || v.Reserved[0].Value != "record" || v.Modified.IsZero() {
					t.Fatalf("%+v", v)
				}
			}
			return nil
		})
		if err != nil || !slices.Equal(got, want) || pages < 2 {
			t.Fatalf("%d versions on %d pages, %v", len(got), pages, err)
		}
	}
}

func TestAWalkGoesOnWhereAnotherEnded(t *testing.T) {
	t.Parallel()
	s, want := fill(t, memory.Options{})
	stop := errors.New("stop")
	var place inventory.Place
	n := 0
	err := inventory.Walk(t.Context(), s.Own(storage.Actor{}), "b", inventory.Place{}, func(all []inventory.Version, next inventory.Place) error {
		n, place = n+len(all), next
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	err = inventory.Walk(t.Context(), s.Own(storage.Actor{}), "b", place, func(all []inventory.Version, _ inventory.Place) error {
		n += len(all)
		return nil
	})
	if err != nil || n != len(want) {
		t.Fatalf("%d of %d, %v", n, len(want), err)
	}
}

func TestAPaceIsKept(t *testing.T) {
	t.Parallel()
	p, began := inventory.NewPace(100), time.Now()
	for range 21 {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("21 of 100/s took %v", took)
	}
}
