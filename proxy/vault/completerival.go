package vault

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// errRival refuses a Complete while another one of the same upload is under way elsewhere. A client that
// took it for final would abort the upload.
var errRival = fmt.Errorf("the storage puts the parts of the upload together for another Complete: %w", ErrChanged)

// repeatable says whether a Complete may have been refused because another one of the same upload has
// been done, or is under way: the storage takes parts away before the object is there.
func repeatable(err error) bool {
	return errors.Is(err, ErrNoSuchUpload) || // which MinIO, just started again, also says of uploads that it has
		failedCondition(err) || // the first of two held, and changed what the second is judged on
		errors.Is(err, ErrInvalidPart) || errors.Is(err, storage.ErrInvalidPart) || errors.Is(err, storage.ErrNotFound)
}

// otherwise is what a refused Complete ends with if the object that is there is not its own: the refusal,
// unless another Complete is under way.
func (p *completing) otherwise(ctx context.Context, refusal error) error {
	if errors.Is(refusal, ErrNoSuchUpload) || failedCondition(refusal) {
		return refusal
	}
	rivalled, err := p.rivalled(ctx)
	switch {
	case err != nil:
		return err
	case rivalled:
		return fmt.Errorf("%w (%v)", errRival, refusal) //nolint:errorlint // it is not to be told
	}
	return refusal
}

// rivalled says whether parts are gone that were there: the storage lists none of their numbers, and the
// ledger has them as the client's list names them. ErrNoSuchUpload if the upload is gone too.
func (p *completing) rivalled(ctx context.Context) (bool, error) {
	current, list := p.current, p.wanted.Parts
	if len(p.chosen) == len(list) { // they were there then
		var err error
		if current, err = p.vault.upstreamParts(ctx, p.caller, p.upload); err != nil {
			return false, err
		}
	}
	gone := make(map[int]*WantedPart)
	for i := range list {
		if current[list[i].Number] == "" {
			gone[list[i].Number] = &list[i]
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	noted := newNotedParts(func(id manifest.PartID) bool { return gone[id.Number] != nil })
	if err := noted.read(ctx, p.vault.o.Ledger, p.upload.ID, list[0].Number, list[len(list)-1].Number); err != nil {
		return false, err
	}
	for id, facts := range noted.facts {
		if want := gone[id.Number]; want != nil && p.names(want, id, &facts) {
			delete(gone, id.Number)
		}
	}
	return len(gone) == 0, nil
}
