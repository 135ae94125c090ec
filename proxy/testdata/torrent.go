package s3api

import (
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// How a newcomer might write GetObjectTorrent. The first handler is right: the engine
// judges the caller before it opens anything. The others read an object without asking
// whether the caller may, and none of them compiles. A comment says which error stands in
// the way.

func (s *API) torrent(_ http.ResponseWriter, r *intake.Request) error {
	object, err := s.vault.Open(r.Context(), s.reader(r), &vault.Get{Read: vault.Read{Name: name(r)}})
	if err != nil {
		return err
	}
	return object.Close()
}

func (s *API) torrentForNobody(_ http.ResponseWriter, r *intake.Request) error {
	object, err := s.vault.Open(r.Context(), &vault.Get{Read: vault.Read{Name: name(r)}}) // want "not enough arguments"
	if err != nil {
		return err
	}
	return object.Close()
}

func (s *API) torrentOfTheStorage(_ http.ResponseWriter, r *intake.Request) error {
	_, err := s.vault.o.Storage.Own(r.Actor()).Get(r.Context(), &storage.Get{Name: name(r)}) // want "unexported field"
	return err
}

func (s *API) torrentOfTheProxy(_ http.ResponseWriter, r *intake.Request) error {
	_, err := s.vault.own(s.reader(r)).Get(r.Context(), &storage.Get{Name: name(r)}) // want "unexported method"
	return err
}

func (s *API) torrentWithItsKey(_ http.ResponseWriter, r *intake.Request) error {
	_, err := s.vault.o.Objects.Open(r.Context(), s.reader(r).Keys, name(r), nil, nil, nil, false) // want "unexported field"
	return err
}

func (s *API) torrentWithTheRing(_ http.ResponseWriter, r *intake.Request) error {
	_, _, err := s.o.Keys.Open(r.Context(), s.reader(r).Keys, name(r), nil, nil) // want "no field or method Keys"
	return err
}

func (s *API) torrentOfTheService(_ http.ResponseWriter, r *intake.Request) error {
	_, _, err := s.o.Service.Get(r.Context(), r.Key, "") // want "no field or method Service"
	return err
}

func (s *API) torrentOfTheForwarder(_ http.ResponseWriter, r *intake.Request) error {
	_, err := s.o.STS.forwarder.Forward(r.Context(), r.Actor(), nil) // want "unexported field"
	return err
}
