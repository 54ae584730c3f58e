#!/usr/bin/env bash
# Measure the packaged models and write all figures and pictures of their cards, and the curve.
#
#   scripts/cards.sh DEV BASELINES ORIGINAL [VAL [NAME=OUTPUTS ...]]
#
# DEV       the development sets: 16k/ and 48k/, each with noisy/ and clean/; META.csv
# BASELINES CSV files with the figures of other systems on these clips
# ORIGINAL  the clips of the original proof of concept: input_N.wav and output_N.wav
# VAL       the validation set of scripts/make_val.py
# OUTPUTS   outputs of another system on it, those after a warm-up in OUTPUTS/warm
#
# Figures of single clips are kept in runs/cards and not measured again unless the weights have
# changed.  JOBS processes score, 1 by default.
set -euo pipefail
dev=$1 baselines=$2 original=$3 val=${4:-}
outputs=()
for each in "${@:5}"; do outputs+=(--outputs "$each"); done
sordino=${SORDINO:-sordino} kept=runs/cards models=(default studio small poc-unet)
mkdir -p "$kept/original/noisy" "$kept/original/original"
for path in "$original"/input_*; do
    name=${path##*/input_}
    cp "$path" "$kept/original/noisy/$name"
    cp "$original/output_$name" "$kept/original/original/$name"
done
beside=(--figures "$baselines" --beside "dfn3-onnx=DeepFilterNet3" --beside "rnnoise=RNNoise")
beside16=(--beside "ulunas=UL-UNAS" --beside "gtcrn-dns3=GTCRN" --beside "nsnet2=NSNet2"
    --beside "dtln=DTLN" --beside "speexdsp=SpeexDSP" --beside "webrtc-2=WebRTC NS"
    --beside "noisereduce=noisereduce")

for model in "${models[@]}"; do
    options=(--model "$model" --jobs "${JOBS:-1}")
    for other in "${models[@]}"; do
        [ "$other" = "$model" ] || options+=(--model "$other")
    done
    options+=(--card "src/sordino/weights/$model.md" --card "docs/models/$model.md"
        --pictures "docs/images/models/$model" --resume)
    curve=()
    [ "$model" = default ] && curve=(--curve docs/images/trade-off.png)
    $sordino evaluate "$dev/16k" "${options[@]}" "${beside[@]}" "${beside16[@]}" "${curve[@]}" \
        --conditions --csv "$kept/16k.csv"
    $sordino evaluate "$dev/48k" "${options[@]}" "${beside[@]}" --csv "$kept/48k.csv"
    $sordino evaluate "$kept/original" "${options[@]}" --outputs "the original=$kept/original/original" \
        --csv "$kept/original.csv"
    [ -z "$val" ] || $sordino evaluate "$val" "${options[@]}" "${outputs[@]}" --condition warm \
        --csv "$kept/val.csv"
done
