package s3api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/deletion"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

const (
	// conditionsAtOnce is how many conditions of one request are judged at once.
	conditionsAtOnce = 8
	// maxDeleteResult bounds the storage's answer about 1,000 keys, in bytes.
	maxDeleteResult = 16 << 20
)

// deleteObjects serves DeleteObjects: forwarded, but for conditions, which upstream ignores.
// The objects that it names have lines of their own in the audit log.
func deleteObjects(s *API, w http.ResponseWriter, r *intake.Request) error {
	document, err := s.in.Document(r)
	if err != nil {
		return err
	}
	asked, err := deletion.Parse(document)
	if err != nil {
		return err
	}
	all := touchedOf(asked.Outcomes(nil))
	if err := r.Touches(all); err != nil {
		return err
	}
	var failed []deletion.Failure
	if asked.Conditional() {
		if asked.Objects, failed, err = judgeDeletions(s, r, asked.Objects); err != nil {
			return err
		}
		document = nil // with its conditions
	} else if !r.Audited() { // the answer need not be read
		answer, err := s.in.Ask(r, upstream.S3, document)
		if err != nil {
			return err
		}
		return s.in.PassBack(w, r, answer)
	}
	result, answer, err := askDeletion(s, r, asked, document, failed)
	if err != nil {
		code := Describe(err).Code
		for i := range all { // some may be gone
			all[i].Code = code
		}
		r.HasTouched(all)
		return err
	}
	r.HasTouched(touchedOf(asked.Outcomes(result)))
	return s.in.PassBack(w, r, answer)
}

// judgeDeletions judges the conditions: failed are those that do not hold or cannot be judged.
func judgeDeletions(s *API, r *intake.Request, objects []deletion.Object) (kept []deletion.Object, failed []deletion.Failure, err error) {
	who, verdicts := s.reader(r), make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(conditionsAtOnce)
	for i, o := range objects {
		if o.IfMatch == "" {
			continue
		}
		group.Go(func() error {
			at, err := objectname.Of(r.Bucket, o.Key)
			if err == nil {
				err = s.vault.MayDelete(r.Context(), who, at, o.Version, o.IfMatch)
			}
			verdicts[i] = err
			return nil
		})
	}
	_ = group.Wait()
	if err := r.Context().Err(); err != nil {
		return nil, nil, err
	}
	for i, o := range objects {
		if verdicts[i] == nil {
			kept = append(kept, o)
			continue
		}
		e := Describe(verdicts[i])
		failed = append(failed, deletion.Failure{Object: o, Code: e.Code, Message: e.Message})
	}
	return kept, failed, nil
}

// askDeletion has the storage delete, and returns what became of all objects, with those that
// failed before among them, and the answer for the client. Only with failed nothing may be left
// to ask for.
func askDeletion(s *API, r *intake.Request, asked *deletion.Request, document []byte, failed []deletion.Failure) (*deletion.Result, *upstream.Answer, error) {
	answer := &upstream.Answer{Status: http.StatusOK, Header: storage.Metadata{"Content-Type": {"application/xml"}}}
	ask, body := s.in.Ask, []byte(nil)
	if document == nil {
		ask, document = s.in.AskAnew, asked.XML()
	}
	if len(asked.Objects) > 0 {
		var err error
		if answer, err = ask(r, upstream.S3, document); err != nil {
			return nil, nil, err
		}
		body, err = io.ReadAll(io.LimitReader(answer, maxDeleteResult)) // keys and codes
		_ = answer.Close()
		if err != nil {
			return nil, nil, intake.ReadError(err)
		}
	}
	result, body, err := deletion.Merge(body, failed)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (%w)", storage.ErrUnreachable, err)
	}
	answer.Header["Content-Length"] = []string{strconv.Itoa(len(body))}
	answer.Length, answer.ReadCloser = int64(len(body)), io.NopCloser(bytes.NewReader(body))
	return result, answer, nil
}

// touchedOf are objects with what became of them, for the audit log.
func touchedOf(objects []deletion.Outcome) []intake.Touched {
	all := make([]intake.Touched, len(objects))
	for i, o := range objects {
		all[i] = intake.Touched{Key: o.Key, Version: o.Version, Code: o.Code, Refused: o.Code == "AccessDenied"}
	}
	return all
}
