from ._arrow_types import (
    check_columns as check_columns,
    completed_schema as completed_schema,
    is_list as is_list,
    is_list_of_numbers as is_list_of_numbers,
    is_same_type as is_same_type,
    is_text as is_text,
    plain_type as plain_type,
    with_long_indices as with_long_indices,
    without_tensors as without_tensors,
)
from ._attention import attention_of_any_shape as attention_of_any_shape
from ._cache import (
    CacheInfo as CacheInfo,
    EmbeddingCache as EmbeddingCache,
    as_cache as as_cache,
    warn_not_kept as warn_not_kept,
)
from ._columns import (
    as_items as as_items,
    checked_text as checked_text,
    fill_template as fill_template,
    is_missing as is_missing,
    refuse_mask as refuse_mask,
    try_template as try_template,
)
from ._compilation import compile_in_place as compile_in_place
from ._content_kinds import (
    how_to_give as how_to_give,
    what_it_is as what_it_is,
)
from ._devices import (
    autocast as autocast,
    device_or_cpu as device_or_cpu,
    quantize as quantize,
    resolve_device as resolve_device,
    resolve_precision as resolve_precision,
)
from ._engine import (
    CacheAccess as CacheAccess,
    Distinct as Distinct,
    Engine as Engine,
    Model as Model,
)
from ._entities import short_references as short_references
from ._errors import (
    ContentError as ContentError,
    content_error as content_error,
    is_of_item as is_of_item,
    is_out_of_memory as is_out_of_memory,
    reading as reading,
)
from ._failures import (
    Failure as Failure,
    collecting_failures as collecting_failures,
    report_failures as report_failures,
    tell_failures as tell_failures,
)
from ._files import (
    RawBytes as RawBytes,
    digest as digest,
    file_digest as file_digest,
    hash_of_content as hash_of_content,
    hashes_of as hashes_of,
    open_file as open_file,
    sha256_of as sha256_of,
)
from ._flights import start_in_turn as start_in_turn
from ._folders import (
    place_of as place_of,
    replacing_folder as replacing_folder,
    saved_at as saved_at,
)
from ._hub import (
    PATIENCE as PATIENCE,
    cached_file as cached_file,
    files_alone as files_alone,
    hub_silence as hub_silence,
    hub_source as hub_source,
    silence as silence,
    unreachable as unreachable,
)
from ._identities import (
    describe_processor as describe_processor,
    loses_digits as loses_digits,
    model_identity as model_identity,
    module_settings as module_settings,
    weights_hash as weights_hash,
)
from ._inner_params import without_parameters as without_parameters
from ._kept_memory import keeping_memory as keeping_memory
from ._locks import (
    ForkSafeLock as ForkSafeLock,
    cached_property as cached_property,
    lock_of as lock_of,
)
from ._marks import has_marks as has_marks, is_mark as is_mark, marks as marks
from ._memory import (
    TOKENS_AT_ONCE as TOKENS_AT_ONCE,
    BatchLimit as BatchLimit,
    HalvingBatches as HalvingBatches,
    automatic_limit as automatic_limit,
    batches as batches,
    free_memory as free_memory,
)
from ._models import (
    own_draws as own_draws,
    reading_quietly as reading_quietly,
    shared_model as shared_model,
)
from ._own_modes import own_modes as own_modes
from ._parents import (
    end_with_parent as end_with_parent,
    end_with_stdin as end_with_stdin,
)
from ._parquet_folders import (
    parquet_files_in as parquet_files_in,
    parquet_identity as parquet_identity,
)
from ._precision import (
    cast as cast,
    is_cast as is_cast,
    working_dtype as working_dtype,
    working_precision as working_precision,
)
from ._progress import bar as bar, progress as progress, showing as showing
from ._randomness import DrawFrom as DrawFrom, Generators as Generators
from ._raw_columns import (
    note_columns as note_columns,
    raw_column_tags as raw_column_tags,
)
from ._records import (
    has_hash as has_hash,
    is_count as is_count,
    is_finite as is_finite,
    with_hash as with_hash,
)
from ._restoring import restored_on_error as restored_on_error
from ._threads import (
    map_ahead as map_ahead,
    map_in_lanes as map_in_lanes,
    n_cores as n_cores,
    n_decoders as n_decoders,
    survive_fork as survive_fork,
    torch_threads as torch_threads,
)
from ._transfer import (
    fetch as fetch,
    fetch_each as fetch_each,
    host_empty as host_empty,
    stack_on as stack_on,
    to_device as to_device,
)
from ._unfinished import (
    remove_abandoned as remove_abandoned,
    replacing as replacing,
    sync as sync,
    sync_folder as sync_folder,
    unfinished as unfinished,
)
from ._weights import (
    existing_path as existing_path,
    file_fingerprint as file_fingerprint,
    is_packaged as is_packaged,
    load_state_dict as load_state_dict,
    local_weights as local_weights,
    packaged_file as packaged_file,
)
from ._whole_paths import refuse_url as refuse_url, whole_path as whole_path
